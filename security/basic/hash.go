package basic

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tg123/go-htpasswd"
)

// The dearest hashes that are accepted unless [Options] say otherwise. One check of either takes about
// a second of one core.
const (
	DefaultMaxBcryptCost = 14
	DefaultMaxRounds     = 1_000_000
)

// The library computes the hashes, but its parsers take nearly anything and one of them panics on a
// bad rounds field at the time of a request, so a line must have exactly the form that tools write.
var (
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$`)
	md5Form    = regexp.MustCompile(`^\$(?:apr1|1)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}$`)
	sha256Form = regexp.MustCompile(`^\$5\$(?:rounds=([1-9]\d{3,8})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}$`)
	sha512Form = regexp.MustCompile(`^\$6\$(?:rounds=([1-9]\d{3,8})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}$`)
	desForm    = regexp.MustCompile(`^[./A-Za-z0-9]{13}$`)
)

// bcryptLimit is how many bytes of a password bcrypt reads. The rest would be ignored, so that a longer
// password equals its own prefix; such passwords are refused instead.
const bcryptLimit = 72

type hash struct {
	matcher htpasswd.EncodedPasswd
	// limit is the longest password the hash takes.
	limit int
	// slow hashes are computed a few at a time.
	slow bool
}

func (h hash) match(password string) bool {
	return len(password) <= h.limit && h.matcher.MatchesPassword(password)
}

// parseHash decides by the prefix. A damaged hash never falls through to plaintext: its text would be a
// password that anybody with the file knows.
func parseHash(text string, opts Options) (hash, error) {
	switch {
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text, opts.MaxBcryptCost)
	case strings.HasPrefix(text, "$apr1$"), strings.HasPrefix(text, "$1$"):
		return parseForm(text, md5Form, 0, htpasswd.AcceptMd5)
	case strings.HasPrefix(text, "$5$"):
		return parseForm(text, sha256Form, opts.MaxRounds, htpasswd.AcceptCryptSha)
	case strings.HasPrefix(text, "$6$"):
		return parseForm(text, sha512Form, opts.MaxRounds, htpasswd.AcceptCryptSha)
	case strings.HasPrefix(text, "{SHA}"):
		return parseDigest(text, htpasswd.AcceptSha)
	case strings.HasPrefix(text, "{SSHA}"):
		return parseDigest(text, htpasswd.AcceptSsha)
	}
	return parsePlain(text, opts.AllowPlaintext)
}

// parseBcrypt leaves out $2x$, the mark of a broken implementation whose collisions it keeps.
func parseBcrypt(text string, maxCost int) (hash, error) {
	form := bcryptForm.FindStringSubmatch(text)
	if form == nil {
		return hash{}, errors.New("damaged bcrypt hash; make a new one with: htpasswd -nB USER")
	}
	cost, _ := strconv.Atoi(form[1])
	if cost < 4 || cost > maxCost {
		return hash{}, fmt.Errorf("bcrypt cost %d is not within 4 and %d; make a new hash with: htpasswd -nB -C 10 USER", cost, maxCost)
	}
	matcher, err := htpasswd.AcceptBcrypt(text)
	if err != nil {
		return hash{}, errors.New("damaged bcrypt hash")
	}
	return hash{matcher: matcher, limit: bcryptLimit, slow: true}, nil
}

func parseForm(text string, form *regexp.Regexp, maxRounds int, accept htpasswd.PasswdParser) (hash, error) {
	parts := form.FindStringSubmatch(text)
	if parts == nil {
		return hash{}, errors.New("damaged hash; make a new one with: htpasswd -nB USER")
	}
	if len(parts) > 1 && parts[1] != "" {
		if rounds, err := strconv.Atoi(parts[1]); err != nil || rounds > maxRounds {
			return hash{}, fmt.Errorf("more than %d rounds; make a new hash with: htpasswd -nB USER", maxRounds)
		}
	}
	matcher, err := accept(text)
	if err != nil || matcher == nil {
		return hash{}, errors.New("damaged hash")
	}
	return hash{matcher: matcher, limit: MaxPassword, slow: true}, nil
}

// parseDigest drops the library's errors: they quote the hash.
func parseDigest(text string, accept htpasswd.PasswdParser) (hash, error) {
	matcher, err := accept(text)
	if err != nil || matcher == nil {
		return hash{}, errors.New("damaged digest; make a new hash with: htpasswd -nB USER")
	}
	return hash{matcher: matcher, limit: MaxPassword}, nil
}

// parsePlain reads {PLAIN} as nginx does; with it a password may look like a hash.
func parsePlain(text string, allow bool) (hash, error) {
	explicit := strings.HasPrefix(text, "{PLAIN}")
	switch {
	case text == "":
		return hash{}, errors.New("empty password")
	case !explicit && strings.HasPrefix(text, "$"), !explicit && strings.HasPrefix(text, "{"):
		return hash{}, errors.New("unknown hash; use bcrypt: htpasswd -nB USER")
	case !explicit && desForm.MatchString(text):
		// If it is DES crypt, its text must not become a password. Nobody can tell.
		return hash{}, errors.New("looks like DES crypt, which is refused; use bcrypt: htpasswd -nB USER")
	case !allow:
		return hash{}, errors.New("unknown hash or plaintext, which is refused; use bcrypt: htpasswd -nB USER")
	}
	matcher, err := htpasswd.AcceptPlain(strings.TrimPrefix(text, "{PLAIN}"))
	if err != nil {
		return hash{}, errors.New("unusable plaintext password")
	}
	return hash{matcher: matcher, limit: MaxPassword}, nil
}
