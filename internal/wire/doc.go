// Package wire reads and writes the protobuf messages that ext_authz and ext_proc share, straight from
// and to their bytes. Generated code needs 70 to 130 allocations for a request with twenty headers; here
// a message is copied once into a string, and every header name and value is a piece of that string,
// which may therefore be kept for ever.
//
// Reading follows generated code to the letter, and the tests compare the two: the last of several
// scalars wins, repeated sub-messages merge, a known field of an unexpected wire type is an unknown
// field, and a proto3 string that is not UTF-8 is an error.
package wire
