// Package sdk is all that the author of an Envoy extension needs: a processor is a function that sees
// one HTTP exchange as straight-line code, and Main makes a server of it. Its types are aliases of those in package
// exchange, whose documentation has their methods: Exchange, Request, Response, Header, Body.
//
//	package main
//
//	import (
//		"context"
//
//		"github.com/gatehouse-proxy/gatehouse/sdk"
//	)
//
//	func main() {
//		sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
//			x.Request.Header.Set("x-hello", "world")
//			return nil
//		}))
//	}
//
// # Order of things
//
// What stands before [Exchange.Next] happens before the request goes on, what stands between Next and
// [Exchange.Finish] before the response does, and what stands after Finish when the client has it. A
// processor that returns without Next has no interest in the response, and one that returns without
// Finish none in the time after it.
//
//	x.Request.Header.Set("x-user", user)  // the upstream sees it
//	resp, err := x.Next(ctx)              // the request goes on; the response's headers come back
//	if err != nil {
//		return err
//	}
//	resp.Header.Set("x-served-by", "me")  // the client sees it
//	return nil                            // the response goes on
//
// # Bodies
//
// A body passes unless it is touched. Reading holds it, so that a denial leaks nothing of it; Observe
// watches it pass, Transform and Set rewrite it. What of the response will be touched, Next is told:
//
//	body, err := x.Request.Body.Bytes(64 << 10) // the upstream has seen nothing yet
//	if err != nil {
//		return err // too large: 413
//	}
//	x.Request.Header.Set("x-model", model(body))
//	resp, err := x.Next(ctx, sdk.ObserveBody)
//	if err != nil {
//		return err
//	}
//	tokens := 0
//	resp.Body.Observe(func(src io.Reader) error { tokens = count(src); return nil })
//	err = x.Finish(ctx) // the response has passed
//	record(tokens)
//	return err
//
// Package sdk/body has tools for bodies: compression, server-sent events, JSON.
//
// Envoy's filter must serve that: allow_mode_override with initial metadata "x-gatehouse-extproc: v=1;
// override" does (Gatehouse's gateway sends it), or a fixed body mode. What isn't served is never passed
// over: the exchange fails with [ErrNeeds]. Package extproc has the table. [Declare] finds it at the first exchange.
//
// # Verdicts are errors
//
// To answer instead of the upstream, return a [Reply]: sdk.Deny(http.StatusForbidden, "not you"). Every
// other error, a panic, and taking too long are the failure verdict, 503. Nothing passes because a
// processor failed.
//
// # More than one
//
// [Chain] nests processors in one server, as net/http middleware nests; that is cheaper and safer than
// several filters in Envoy.
//
// # What net/http has already
//
// [Middleware] runs middleware that was written for net/http, whether it looks at headers, wraps bodies or
// answers by itself; [Handler] answers from Go.
//
//	sdk.Main(sdk.Middleware(cors.Default().Handler))
//
// # Deciding only
//
// An [Authorizer] sees the request and gives a [Verdict]. It is served as ext_authz, which costs Envoy
// less than a stream per request. [Serve] and [Main] take either kind. [Authorize] makes it a processor.
//
// # Serving
//
// [Main] is a whole server: flags (--help lists them), gRPC health, a graceful stop. [Serve] is the same
// for a program of one's own. TLS, metrics and a bound on what is served at a time are flags of Main and
// options of Serve; a warm-up and spans are options of both. Where the server is full or not yet warm, the
// client gets the failure verdict at once: nothing waits, and nothing passes.
//
// The examples below are complete programs.
package sdk
