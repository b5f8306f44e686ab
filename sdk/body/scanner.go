package body

import (
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// scanner reads JSON's tokens and passes them on as they stand. What it has read lies in the chunk from
// mark to pos, and goes out in one piece before the next chunk is read.
type scanner struct {
	src  io.Reader
	dst  io.Writer
	room []byte

	chunk     []byte
	mark, pos int
	before    int64 // bytes before the chunk

	aside bool   // what is read is taken aside, not passed on
	most  int    // how much may be taken aside; below 0 nothing is kept
	taken []byte // what was
}

// flush lets go of what was read.
func (s *scanner) flush() error {
	p := s.chunk[s.mark:s.pos]
	s.mark = s.pos
	switch {
	case len(p) == 0 || s.aside && s.most < 0:
		return nil
	case !s.aside:
		_, err := s.dst.Write(p)
		return err
	case len(s.taken)+len(p) > s.most:
		return exchange.ErrTooLarge
	}
	s.taken = append(s.taken, p...)
	return nil
}

// nothingKept is what may be taken aside of what goes.
const nothingKept = -1

// divert has what is read from here on taken aside, up to most bytes, until [scanner.resume].
func (s *scanner) divert(most int) error {
	err := s.flush()
	s.aside, s.taken, s.most = true, s.taken[:0], most
	return err
}

func (s *scanner) resume() error {
	err := s.flush()
	s.aside = false
	return err
}

// fill reads the next chunk; io.EOF is the end of the body.
func (s *scanner) fill() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.before += int64(len(s.chunk))
	s.mark, s.pos, s.chunk = 0, 0, nil
	for {
		n, err := s.src.Read(s.room)
		s.chunk = s.room[:n]
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// peek returns the next byte; [scanner.advance] passes it.
func (s *scanner) peek() (byte, error) {
	if s.pos == len(s.chunk) {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	return s.chunk[s.pos], nil
}

func (s *scanner) advance() { s.pos++ }

// at passes c if it is the next byte.
func (s *scanner) at(c byte) bool {
	if next, err := s.peek(); err != nil || next != c {
		return false
	}
	s.advance()
	return true
}

// fault tells where the document is malformed, and nothing of what stands there.
func (s *scanner) fault(what string) error {
	return fmt.Errorf("%w: JSON at byte %d: %s", ErrSyntax, s.before+int64(s.pos), what)
}

// space passes white space, which something must follow.
func (s *scanner) space() error {
	_, err := s.spaceOrEnd()
	if err == io.EOF { //nolint:errorlint // fill's own
		return s.fault("it ends too early")
	}
	return err
}

// spaceOrEnd passes white space and returns the byte after it.
func (s *scanner) spaceOrEnd() (byte, error) {
	for {
		c, err := s.peek()
		if err != nil || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, err
		}
		s.advance()
	}
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		c, err := s.peek()
		if err == io.EOF || err == nil && c != word[i] { //nolint:errorlint // fill's own
			return s.fault(word + " is expected")
		}
		if err != nil {
			return err
		}
		s.advance()
	}
	return nil
}

// number passes -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() error {
	s.at('-')
	if !s.at('0') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.at('.') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.at('e') || s.at('E') {
		if !s.at('+') {
			s.at('-')
		}
		if err := s.digits(); err != nil {
			return err
		}
	}
	// at doesn't tell why there is no next byte, which matters unless the body has ended.
	if _, err := s.peek(); err != nil && err != io.EOF { //nolint:errorlint // fill's own
		return err
	}
	return nil
}

func (s *scanner) digits() error {
	for n := 0; ; n++ {
		c, err := s.peek()
		if err != nil && err != io.EOF { //nolint:errorlint // fill's own
			return err
		}
		if err != nil || c < '0' || c > '9' {
			if n == 0 {
				return s.fault("a digit is expected")
			}
			return nil
		}
		s.advance()
	}
}

// capture takes a string's text with its escapes resolved, up to most bytes and a little more.
type capture struct {
	to   *[]byte
	most int
}

func (c *capture) add(p ...byte) {
	if c != nil && len(*c.to) < c.most {
		*c.to = append(*c.to, p[:min(len(p), c.most)]...)
	}
}

// text passes a string. into may be nil.
func (s *scanner) text(into *capture) error {
	s.advance() // the quote
	for {
		if _, err := s.peek(); err != nil {
			return s.cut(err)
		}
		run := s.chunk[s.pos:]
		i := 0
		for i < len(run) && run[i] != '"' && run[i] != '\\' && run[i] >= ' ' {
			i++
		}
		into.add(run[:i]...)
		s.pos += i
		if i == len(run) {
			continue
		}
		switch run[i] {
		case '"':
			s.advance()
			return nil
		case '\\':
			s.advance()
			if err := s.escape(into); err != nil {
				return err
			}
		default:
			return s.fault("a control character in a string")
		}
	}
}

// cut is the error for a string that a read error ends.
func (s *scanner) cut(err error) error {
	if err == io.EOF { //nolint:errorlint // fill's own
		return s.fault("a string doesn't end")
	}
	return err
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *scanner) escape(into *capture) error {
	c, err := s.peek()
	if err != nil {
		return s.cut(err)
	}
	if c != 'u' {
		plain, ok := escapes[c]
		if !ok {
			return s.fault("an unknown escape")
		}
		s.advance()
		into.add(plain)
		return nil
	}
	first, err := s.hex()
	if err != nil {
		return err
	}
	for utf16.IsSurrogate(first) {
		if !s.at('\\') {
			break
		}
		if c, err := s.peek(); err != nil || c != 'u' {
			into.add(utf8.AppendRune(nil, utf8.RuneError)...)
			return s.escape(into)
		}
		second, err := s.hex()
		if err != nil {
			return err
		}
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			first = pair
			break
		}
		into.add(utf8.AppendRune(nil, utf8.RuneError)...)
		first = second
	}
	into.add(utf8.AppendRune(nil, first)...) // half a pair becomes U+FFFD, as readers see it
	return nil
}

// hex passes uXXXX.
func (s *scanner) hex() (rune, error) {
	s.advance()
	var r rune
	for range 4 {
		c, err := s.peek()
		if err != nil {
			return 0, s.cut(err)
		}
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, s.fault("four hexadecimal digits are expected")
		}
		s.advance()
	}
	return r, nil
}
