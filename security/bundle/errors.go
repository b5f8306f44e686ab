package bundle

import "errors"

var (
	errFiles = errors.New("url: files can't be read here; use https")
	errURL   = errors.New("url: must be https, http with allowPrivateAddresses, or file:///PATH")
	errKey   = errors.New("signing.keyRef: must be a public key or certificate in PEM form, or a secret of at least 32 bytes")
	// errPrivateKey indicates a key that could also sign: whoever publishes it has lost it.
	errPrivateKey = errors.New("signing.keyRef: it is a private key; give the public one")
	errPacked     = errors.New("the archive is too large")
	errUnpacked   = errors.New("the archive is too large when it is unpacked")
	errFormat     = errors.New("no bundle: it must be a gzip-compressed tar archive")
	errSignature  = errors.New("the signature isn't valid for this key; sign the bundle with the key of signing.keyRef")
	errDelta      = errors.New("delta bundles can't be used; publish snapshots")
	errWasm       = errors.New("the bundle holds compiled policies (WebAssembly or plans); publish Rego")
)
