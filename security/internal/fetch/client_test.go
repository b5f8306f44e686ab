package fetch_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
)

// TestS26OnlyPublicAddressesAreFetched knows the special-purpose registries of IANA (RFC 6890 and its successors),
// and IPv6 addresses that carry an IPv4 address.
func TestS26OnlyPublicAddressesAreFetched(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]",
		"[2001::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[100::1]", "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25eth0]", "[fec0::1]", "[ff02::1]",
	} {
		if err := fetch.CheckURI("https://"+host+"/keys", false); err == nil || !strings.Contains(err.Error(), "private") {
			t.Errorf("%s: %v", host, err)
		}
		if err := fetch.CheckURI("http://"+host+":8080/keys", true); err != nil {
			t.Errorf("%s, allowed: %v", host, err)
		}
	}
	for _, host := range []string{"1.1.1.1", "100.63.255.255", "172.32.0.1", "[2606:4700::1111]", "idp.example"} {
		if err := fetch.CheckURI("https://"+host+"/keys", false); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, uri := range []string{"", "/keys", "idp.example/keys", "https://", "https:///keys", "http://idp.example/", "file:///etc/passwd", "ftp://idp.example/", "https://user@idp.example/", "https://u:p@idp.example/", "gopher://idp.example/"} {
		if fetch.CheckURI(uri, false) == nil {
			t.Errorf("%q is accepted", uri)
		}
	}
}
