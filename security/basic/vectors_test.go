package basic_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/basic"
)

// vector is a line's hash and the password of it.
type vector struct{ hash, password string }

// libraryVectors reads the tables that the library tests itself with, out of its sources.
func libraryVectors(t *testing.T) (all []vector) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tg123/go-htpasswd").Output()
	if err != nil {
		t.Fatal(err)
	}
	for file, form := range map[string]string{
		"md5_test.go":      `\{"([^"]+)", "([^"]+)", "([^"]+)", PrefixCrypt(Md5|Apr1)\}`,
		"cryptsha_test.go": `\{"([^"]+)", 0, "([^"]+)", "([^"]+)", PrefixCrypt(Sha256|Sha512)\}`,
		"sha_test.go":      `\{"([^"]+)"(), "([^"]+)"()\}`,
		"bcrypt_test.go":   `AcceptBcrypt, nil, "(\$2[by]\$[^"]+)"()(), "([^"]+)"\)`,
		"ssha_test.go":     `AcceptSsha, nil, "([^"]+)"()(), "([^"]+)"\)`,
	} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(string(text), -1) {
			switch prefix := map[string]string{"Md5": "$1$", "Apr1": "$apr1$", "Sha256": "$5$", "Sha512": "$6$"}[m[4]]; {
			case prefix != "":
				all = append(all, vector{prefix + m[2] + "$" + m[3], m[1]})
			case m[3] != "":
				all = append(all, vector{m[3], m[1]})
			default:
				all = append(all, vector{m[1], m[4]})
			}
		}
	}
	return all
}

// Salts that no tool writes, but the library takes: characters outside the alphabet, or more than 16 of
// them.
var oddSalts = []string{"iklkG8zV969+0x+f", "98765432101234567890"}

// TestHashesOfTheLibrary verifies every hash of the library's own tests, and that a password next to it
// fails.
func TestHashesOfTheLibrary(t *testing.T) {
	t.Parallel()
	vectors, odd := libraryVectors(t), 0
	if len(vectors) < 600 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		users, err := basic.Parse([]byte("u:"+v.hash), basic.Options{})
		if err != nil {
			known := false
			for _, salt := range oddSalts {
				known = known || strings.Contains(v.hash, salt)
			}
			if !known {
				t.Errorf("%s: %v", v.hash, err)
			}
			odd++
			continue
		}
		if !verify(t, users, "u", v.password) || verify(t, users, "u", v.password+"x") || verify(t, users, "u", v.password[1:]) {
			t.Errorf("%s by %q", v.hash, v.password)
		}
	}
	if odd != len(oddSalts) {
		t.Errorf("%d odd salts", odd)
	}
}

// TestFilesOfApacheAndNginx: what the manuals of both show, and what `openssl passwd` writes for nginx.
func TestFilesOfApacheAndNginx(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line, password string
		refused        bool
	}{
		"Apache's manual, bcrypt": {"myName:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", "myPassword", false},
		"Apache's manual, MD5":    {"myName:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "myPassword", false},
		"Apache's manual, SHA1":   {"myName:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "myPassword", false},
		"Apache's manual, CRYPT":  {"myName:rqXexS6ZhobKA", "myPassword", true},
		"openssl passwd -apr1":    {"u:$apr1$saltsalt$qYpLAVWkBvXFyDme7.oc1/", "pass word", false},
		"openssl passwd -1":       {"u:$1$saltsalt$4px9i58NU2Z2/vZOUlGjq.", "x", false},
		"openssl passwd -5":       {"u:$5$saltstring$gza23T1nDl5F.USvgw5ApzJdGFAWiVYC0JyfjHvp.EB", "pä:ss", false},
		"openssl passwd -6":       {"u:$6$saltstring$oLQSZs4or62UyAWPREnQE/jCVfS8V9Ukp72AjYZH0jLldHzP1TQqAw10LZL5NZaQaD6B/Vk6PHUB6BfLScL2U/", "pä:ss", false},
		"nginx, salted SHA":       {"u:{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==", "secret", false},
		"nginx, plain":            {"u:{PLAIN}secret", "secret", true},
		"nginx, a comment behind": {"u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:the comment", "secret", true},
		"Apache, plaintext":       {"u:secret", "secret", true},
	} {
		users, err := basic.Parse([]byte("# made by hand\n\n"+c.line+"\r\n"), basic.Options{})
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		user, _, _ := strings.Cut(c.line, ":")
		if !verify(t, users, user, c.password) || verify(t, users, user, c.password+" ") {
			t.Errorf("%s: the password fails, or another passes", name)
		}
	}
}
