// Command signed lets requests pass whose body is signed, as senders of webhooks do it:
//
//	x-signature: t=<seconds since 1970>,v1=<hex of HMAC-SHA256 over "t.body">
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

const (
	maxBody   = 1 << 20
	tolerance = 5 * time.Minute // an older signature may be somebody's recording
)

var keyFile = flag.String("key-file", "", "`file` with the key that senders have")

func main() { sdk.Main(sdk.ProcessorFunc(check)) }

func check(_ context.Context, x *sdk.Exchange) error {
	key, err := os.ReadFile(*keyFile) // at each request: a changed key counts at once
	if err != nil {
		return err // 503: without a key nothing can be checked
	}
	stamp, signature, ok := strings.Cut(strings.TrimPrefix(x.Request.Header.Get("x-signature"), "t="), ",v1=")
	mac, err := hex.DecodeString(signature)
	if !ok || err != nil || !fresh(stamp) {
		return sdk.Deny(http.StatusUnauthorized, "missing, malformed or old signature")
	}
	body, err := x.Request.Body.Bytes(maxBody) // held: the backend has seen nothing of it
	if err != nil {
		return err // 413 if it is larger
	}
	want := hmac.New(sha256.New, []byte(strings.TrimSpace(string(key))))
	want.Write([]byte(stamp + "."))
	want.Write(body)
	if !hmac.Equal(mac, want.Sum(nil)) {
		return sdk.Deny(http.StatusUnauthorized, "wrong signature")
	}
	return nil
}

func fresh(stamp string) bool {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	return err == nil && time.Since(time.Unix(seconds, 0)).Abs() < tolerance
}
