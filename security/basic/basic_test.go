package basic_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatehouse-proxy/gatehouse/security/basic"
)

// formats are hashes of "secret", made by openssl and perl.
func formats(tb testing.TB) map[string]string {
	blowfish := hashed(tb, "secret", 4)
	return map[string]string{
		"bcrypt 2a": blowfish, "bcrypt 2b": "$2b$" + blowfish[4:], "bcrypt 2y": "$2y$" + blowfish[4:],
		"apr1": "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/", "MD5": "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
		"SHA-256":        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
		"SHA-512":        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
		"SHA-512 rounds": "$6$rounds=1234$saltsalt$DSBPDUZo0nCMWUbkNmW7RMcfxGS7cBvIvCXqeuthKtjYB6G18g/1OQ8smAgXrYCNdMBsO.kPjvs8iRopadGpI/",
		"SHA":            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "SSHA": "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
	}
}

func parse(tb testing.TB, text string, opts ...basic.Options) *basic.Users {
	tb.Helper()
	u, err := basic.Parse([]byte(text), append(opts, basic.Options{})[0])
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func hashed(tb testing.TB, password string, cost int) string {
	tb.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		tb.Fatal(err)
	}
	return string(h)
}

func verify(tb testing.TB, u *basic.Users, user, password string) bool {
	tb.Helper()
	for {
		ok, err := u.Verify(tb.Context(), user, password)
		if errors.Is(err, basic.ErrBusy) { // other tests hash at the same time
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		return ok
	}
}

func TestHashFormats(t *testing.T) {
	t.Parallel()
	for scheme, hash := range formats(t) {
		u := parse(t, "other:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nalice:"+hash+"\n")
		for range 2 { // the second is remembered
			if !verify(t, u, "alice", "secret") {
				t.Errorf("%s: the right password is refused", scheme)
			}
		}
		for _, wrong := range []string{"", "Secret", "secret ", "secre", hash, "secret\x00"} {
			if verify(t, u, "alice", wrong) || verify(t, u, "Alice", "secret") {
				t.Errorf("%s: %q passes", scheme, wrong)
			}
		}
	}
}

func TestS34FileForms(t *testing.T) {
	t.Parallel()
	sha := "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
	u := parse(t, "\ufeff# comment\r\n\r\nalice:"+sha+"\r\n   \r\nalice:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nbjörn:"+sha)
	if u.Len() != 2 || !verify(t, u, "alice", "secret") || !verify(t, u, "björn", "secret") {
		t.Error("BOM, CRLF, comment, blank or duplicate lines are misread")
	}
	secret := "s3cr3thash"
	for name, line := range map[string]string{
		"plaintext": "u:" + secret, "empty": "u:", "no colon": secret, "no user": ":" + sha, "DES": "u:rqXexS6ZhobKA", "bcrypt 2x": "u:$2x$05$" + strings.Repeat("a", 53),
		"short bcrypt": "u:$2a$05$" + secret, "dear bcrypt": "u:$2a$15$" + strings.Repeat("a", 53), "apr1": "u:$apr1$" + secret + "$x", "digest": "u:{SHA}" + secret, "ssha": "u:{SSHA}AAAA",
		"unknown": "u:$argon2id$" + secret, "rounds": "u:$6$rounds=x$salt$" + strings.Repeat("a", 86), "few rounds": "u:$6$rounds=10$salt$" + strings.Repeat("a", 86),
		"many rounds": "u:$6$rounds=1000001$salt$" + strings.Repeat("a", 86), "long user": strings.Repeat("u", 300) + ":" + sha, "control": "u\x01:" + sha,
		"trailing field": "u:" + sha + ":x", "braces": "u:{PLAIN}" + secret,
	} {
		_, err := basic.Parse([]byte("\nalice:"+sha+"\n"+line), basic.Options{})
		if err == nil || !strings.Contains(err.Error(), "line 3") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := basic.Options{AllowPlaintext: true}
	u = parse(t, "u:pass:word\nv:{PLAIN}rqXexS6ZhobKA", plain)
	if !verify(t, u, "u", "pass:word") || !verify(t, u, "v", "rqXexS6ZhobKA") || verify(t, u, "v", "{PLAIN}rqXexS6ZhobKA") {
		t.Error("plaintext is misread")
	}
	for _, line := range []string{"u:rqXexS6ZhobKA", "u:$apr1$x", "u:{SSHA}x"} {
		if _, err := basic.Parse([]byte(line), plain); err == nil {
			t.Errorf("%s: a damaged hash becomes a password", line)
		}
	}
}

func TestS34LongBcryptPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 72)
	u := parse(t, "alice:"+hashed(t, long, 4))
	if !verify(t, u, "alice", long) || verify(t, u, "alice", long+"b") {
		t.Error("bytes beyond bcrypt's 72 are ignored")
	}
}

// The costs are compared, not times: a wrong password and an unknown user both compute one hash of the
// file's scheme. bcrypt of cost 10 takes dozens of milliseconds, a short cut takes microseconds.
func TestS31UnknownUsersCostTheSame(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]*basic.Users{"users": parse(t, "alice:"+hashed(t, "secret", 10)), "empty file": parse(t, "")} {
		for _, user := range []string{"mallory", "alice", ""} {
			start := time.Now()
			if verify(t, u, user, "wrong") {
				t.Errorf("%s: %q passes", name, user)
			}
			if took := time.Since(start); took < 10*time.Millisecond {
				t.Errorf("%s: %q took %s", name, user, took)
			}
		}
	}
}

func TestS32SuccessesAreNotConfused(t *testing.T) {
	t.Parallel()
	u := parse(t, "ab:"+hashed(t, "c", 4)+"\na:"+hashed(t, "bc", 4)+"\na1:"+hashed(t, "x", 4)+"\n")
	for _, c := range []struct {
		user, password string
		want           bool
	}{{"ab", "c", true}, {"a", "bc", true}, {"ab", "bc", false}, {"a", "c", false}, {"", "abc", false}, {"abc", "", false}, {"a1", "x", true}, {"a", "1x", false}} {
		for range 2 {
			if got := verify(t, u, c.user, c.password); got != c.want {
				t.Errorf("%s %s: %v", c.user, c.password, got)
			}
		}
	}
}

func TestS33OnlySuccessesAreRemembered(t *testing.T) {
	t.Parallel()
	u := parse(t, "alice:"+hashed(t, "secret", 9))
	timed := func(password string) time.Duration {
		start := time.Now()
		verify(t, u, "alice", password)
		return time.Since(start)
	}
	verify(t, u, "alice", "secret")
	verify(t, u, "alice", "wrong")
	if took := timed("wrong"); took < 2*time.Millisecond {
		t.Errorf("a failure is remembered: %s", took)
	}
	best := time.Hour
	for range 20 {
		best = min(best, timed("secret"))
	}
	if best > 2*time.Millisecond {
		t.Errorf("a success isn't remembered: %s", best)
	}
	// A changed file is a new Users.
	if changed := parse(t, "alice:"+hashed(t, "other", 4)); verify(t, changed, "alice", "secret") {
		t.Error("the old password passes")
	}
}

// Not parallel: it takes every slot of the process.
func TestS33HashingIsBounded(t *testing.T) {
	u := parse(t, "alice:"+hashed(t, "secret", 10))
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 32)
	for i := range cap(results) {
		go func() {
			_, err := u.Verify(ctx, "alice", strconv.Itoa(i))
			results <- err
		}()
	}
	<-results // one had its turn; the rest wait
	cancel()
	waiting := 0
	for range cap(results) - 1 {
		if err := <-results; errors.Is(err, context.Canceled) || errors.Is(err, basic.ErrBusy) {
			waiting++
		}
	}
	if waiting < cap(results)/2 {
		t.Errorf("only %d of %d waited", waiting, cap(results))
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for value, want := range map[string]string{
		"Basic " + b64("a:b"): "a|b", "basic " + b64("a:b:c"): "a|b:c", "BASIC   " + b64("a:"): "a|", "Basic " + b64("ä:ö"): "ä|ö",
		"": "none", "Bearer x": "none", "Basicx " + b64("a:b"): "none", "Digest " + b64("a:b"): "none",
		"Basic": "bad", "Basic ": "bad", "Basic " + b64("ab"): "bad", "Basic " + b64("a:b\n"): "bad", "Basic " + b64("a:b") + "=": "bad", "Basic YTpi\n": "bad",
		"Basic YT pi": "bad", "Basic " + b64("a:\xff"): "bad", "Basic " + b64(strings.Repeat("a", 300)+":b"): "bad", "Basic " + b64("a:"+strings.Repeat("b", 300)): "bad",
		"Basic YTpj" + strings.Repeat("A", 9000): "bad", "Basic " + strings.TrimRight(b64("a:bc"), "="): "bad",
	} {
		user, password, err := basic.ParseAuthorization(value)
		got := user + "|" + password
		if errors.Is(err, basic.ErrNotBasic) {
			got = "none"
		} else if err != nil {
			got = "bad"
		}
		if got != want {
			t.Errorf("%.40q: %s, want %s", value, got, want)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"Basic YTpi", "basic  YTpiOmM=", "Basic", "Basic YTpi\n", "Bearer x", "Basic //8=", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		user, password, err := basic.ParseAuthorization(value)
		if err != nil && (user != "" || password != "") {
			t.Error("credentials beside an error")
		}
		if err == nil && (strings.Contains(user, ":") || strings.ContainsAny(user+password, "\r\n\x00")) {
			t.Errorf("%q %q", user, password)
		}
	})
}

func FuzzHtpasswd(f *testing.F) {
	for _, seed := range []string{"a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "a:$apr1$a$" + strings.Repeat("a", 22), "\ufeff#\r\n:", "a:$6$rounds=1000$a$" + strings.Repeat("a", 86), "a:$5$$", "a:{SSHA}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		// A cheap cap, so that the fuzzer doesn't compute dear hashes all day.
		u, err := basic.Parse(file, basic.Options{MaxBcryptCost: 4, MaxRounds: 1000})
		if err != nil || u.Len() == 0 {
			return
		}
		if ok, _ := u.Verify(t.Context(), "nobody knows this name", "x"); ok {
			t.Error("an unknown user passes")
		}
	})
}

// After a success nothing but the same user and password is let pass by what is remembered.
func TestS33WhatIsNearASuccessFails(t *testing.T) {
	t.Parallel()
	u := parse(t, "alice:"+hashed(t, "secret", 4)+"\nbob:"+hashed(t, "other", 4))
	if !verify(t, u, "alice", "secret") {
		t.Fatal("the password fails")
	}
	for _, c := range [][2]string{
		{"alice", ""}, {"alice", "secre"}, {"alice", "secrets"}, {"alice", "Secret"}, {"alice", "secret\x00"}, {"alice", " secret"}, {"alice", "other"},
		{"bob", "secret"}, {"Alice", "secret"}, {"alic", "esecret"}, {"alices", "ecret"}, {"", "secret"}, {"alice:", "secret"}, {"mallory", "secret"},
	} {
		if verify(t, u, c[0], c[1]) {
			t.Errorf("%q %q passes", c[0], c[1])
		}
	}
}
