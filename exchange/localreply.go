package exchange

import "context"

// LocalReplyProcessor is implemented by Processors that also want the responses that the proxy made before
// the request reached them, because an earlier filter answered it or it was malformed. Others never see
// these: they pass unchanged.
type LocalReplyProcessor interface {
	Processor
	// ProcessLocalReply may edit the response, and touch its body as if Next had been told EditBody and
	// Trailers. Nothing is known of the request. What it returns is treated like Process's error. It is
	// called concurrently, once for each such response.
	ProcessLocalReply(ctx context.Context, resp *Response) error
}

// ProcessLocalReply lets p see a local reply if it wants them. For Processors that wrap others.
func ProcessLocalReply(ctx context.Context, p Processor, resp *Response) error {
	if l, ok := p.(LocalReplyProcessor); ok {
		return l.ProcessLocalReply(ctx, resp)
	}
	return nil
}
