package gatewayapi

import "math"

// PortNumber converts a TCP port, and reports whether it is one: files pass no API server that would
// check the range, and a number cut to 16 bits is somebody else's port.
func PortNumber[T ~int32](n T) (uint16, bool) {
	if n < 1 || n > math.MaxUint16 {
		return 0, false
	}
	return uint16(n), true
}
