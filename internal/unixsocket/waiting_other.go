//go:build !unix

package unixsocket

// waiting can't be asked here; clients who have just connected may be lost.
func (*Listener) waiting() (bool, error) { return false, nil }
