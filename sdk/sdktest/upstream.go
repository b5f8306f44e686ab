package sdktest

import "github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"

// serveUpstream is the upstream: it takes the request, or another try of it, and answers.
func (s *session) serveUpstream(back link.Sender, h []link.Field) link.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, answer := newRecorder(s.events), s.request.Upstream
	if n := len(s.tries); n < len(s.request.Tries) {
		answer = s.request.Tries[n]
	}
	one.digest = s.request.Digest
	s.tries = append(s.tries, one)
	if len(s.tries) == 1 {
		close(s.asked)
	}
	back = counting(back, s.request.Answered)
	s.answering.Go(func() { s.respond(back, one, answer) })
	return one
}

// last is the upstream's end of the last try, nil if there is none.
func (s *session) last() *recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tries) == 0 {
		return nil
	}
	return s.tries[len(s.tries)-1]
}

// respond answers one try.
func (s *session) respond(back link.Sender, upstream *recorder, r Response) {
	if len(s.request.Tries) == 0 {
		defer s.tap.response.lift() // whatever else answers
	}
	switch {
	case r.Hang:
		return
	case s.request.Pace == PingPong:
		s.tap.response.lift()
		s.echoEach(back, upstream, r)
		return
	}
	ahead := s.request.Endless && r.Early // the headers
	if ahead {
		back.Headers(r.fields(), false)
	}
	if !r.Early && !s.complete(upstream) {
		return
	}
	if r.Echo {
		r.Body = s.echo(upstream, r.Body)
	}
	all := together(r.Pace, r.Body)
	if !all {
		s.tap.response.lift()
	}
	for _, status := range r.Interim {
		back.Headers(Response{Status: status}.fields(), false)
	}
	if r.Status < 0 {
		back.Reset()
	} else {
		s.answer(back, r, ahead)
	}
	if all {
		back.Sync()
		s.tap.response.lift()
	}
}

// complete waits for the request's end, and reports whether it came.
func (s *session) complete(upstream *recorder) bool {
	select {
	case <-upstream.ended:
		return upstream.message().End != Reset
	case <-s.ctx.Done():
		return false
	}
}

// echo is the body to answer with where the request had one.
func (s *session) echo(upstream *recorder, otherwise []string) []string {
	if s.request.Endless {
		upstream.await(s.ctx, size(s.request.Body))
	}
	if body := upstream.message().Body; body != "" {
		return []string{body}
	}
	return otherwise
}

// answer sends the response; ahead says that its headers have gone.
func (s *session) answer(back link.Sender, r Response, ahead bool) {
	end := ends(r.Body, r.Trailer, r.SeparateEnd, r.Abort)
	handled := s.proxy.handled()
	if !ahead {
		back.Headers(r.fields(), end)
	}
	if !end && r.Pace == Late {
		s.awaitHandled(s.ctx, handled+1)
	}
	switch {
	case r.Pace == Interleaved:
		s.sendHeldEnd(back, r)
	case !end:
		sendBody(back, r.Body, r.Trailer, r.SeparateEnd, r.Abort, false)
	}
}

// echoEach answers each chunk of the request with itself, as it comes.
func (s *session) echoEach(back link.Sender, upstream *recorder, r Response) {
	back.Headers(r.fields(), false)
	n := 0
	for _, chunk := range s.request.Body {
		n += len(chunk)
		upstream.await(s.ctx, n)
		back.Data([]byte(chunk), false)
	}
	sendBody(back, nil, r.Trailer, len(r.Trailer) == 0, false, false)
}

// sendHeldEnd sends a response's body, and its end once the client has that.
func (s *session) sendHeldEnd(back link.Sender, r Response) {
	sendBody(back, r.Body, nil, false, false, true)
	s.client.await(s.ctx, size(r.Body))
	sendBody(back, nil, r.Trailer, true, r.Abort, false)
}
