package basic

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// maxFile is the size of a Secret in Kubernetes.
const maxFile = 1 << 20

// Options say what a file may hold. The zero value is the strict default.
type Options struct {
	// AllowPlaintext accepts lines that are no hash, and `{PLAIN}password`.
	AllowPlaintext bool
	// MaxBcryptCost is the largest bcrypt cost; 0 is [DefaultMaxBcryptCost].
	MaxBcryptCost int
	// MaxRounds is the largest SHA-crypt rounds; 0 is [DefaultMaxRounds].
	MaxRounds int
}

// Users is a parsed htpasswd file. It is safe for concurrent use. A changed file is a new Users, which
// knows nothing of the old one's successes.
type Users struct {
	byName map[string]*entry
	all    []*entry
	// secret keys what is remembered of a success; it is this process's and this file's own.
	secret [32]byte
	// content picks the entry that stands in for an unknown user.
	content [32]byte
	checks  checks
}

type entry struct {
	hash

	text     string
	verified atomic.Pointer[[32]byte]
}

// decoyHash is the entry of a file without users, so that an empty file answers as slowly as others.
// It is bcrypt, cost 10, of a random password that nobody kept.
const decoyHash = "$2a$10$ha/hAg8EQ3N2XbmrXOrDve3i9N.bQv/eUXKlyJyQQpuas2lbpM1T."

// Parse reads an htpasswd file: `user:hash` lines; blank lines, lines that begin with #, a byte order
// mark and CRLF are skipped. For a user named twice the first line counts, as in Apache. A line that
// can't be used is an error, which names the line and nothing of its contents: to skip it could lock
// out the user it was meant for, or let an older line of another file's merge win.
func Parse(file []byte, opts Options) (*Users, error) {
	if len(file) > maxFile {
		return nil, fmt.Errorf("htpasswd file is larger than %d bytes", maxFile)
	}
	opts.setDefaults()
	u := &Users{byName: map[string]*entry{}, content: sha256.Sum256(file)}
	if _, err := rand.Read(u.secret[:]); err != nil {
		return nil, fmt.Errorf("no randomness: %w", err)
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(file), "\ufeff")) {
		number++
		if err := u.add(strings.TrimSpace(line), opts); err != nil {
			return nil, fmt.Errorf("htpasswd line %d: %w", number, err)
		}
	}
	if len(u.all) == 0 {
		h, err := parseBcrypt(decoyHash, DefaultMaxBcryptCost)
		if err != nil {
			return nil, err
		}
		u.all = []*entry{{hash: h, text: decoyHash}}
	}
	return u, nil
}

// Len returns the number of users.
func (u *Users) Len() int { return len(u.byName) }

// add checks also the lines it then ignores: a file is either sound or refused.
func (u *Users) add(line string, opts Options) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	name, text, found := strings.Cut(line, ":")
	switch {
	case !found:
		return errors.New("no colon; a line is USER:HASH")
	case name == "" || len(name) > MaxUser || !printable(name):
		return fmt.Errorf("the user name is empty, longer than %d bytes, or not printable UTF-8", MaxUser)
	}
	h, err := parseHash(text, opts)
	if err != nil {
		return err
	}
	if _, known := u.byName[name]; known {
		return nil
	}
	e := &entry{hash: h, text: text}
	u.byName[name] = e
	u.all = append(u.all, e)
	return nil
}

func (o *Options) setDefaults() {
	if o.MaxBcryptCost == 0 {
		o.MaxBcryptCost = DefaultMaxBcryptCost
	}
	if o.MaxRounds == 0 {
		o.MaxRounds = DefaultMaxRounds
	}
}
