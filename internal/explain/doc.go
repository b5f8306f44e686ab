// Package explain says what a gateway does with a request, and why: the listener, the route and the
// policies that take it, and the verdict of the real policy engine, in process. It also lists every way
// by which a request can reach a backend.
//
// Servers of the user's own (ext_authz, ext_proc) are named, not asked.
package explain
