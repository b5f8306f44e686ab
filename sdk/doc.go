// Package sdk is all that the author of an Envoy extension needs: a processor is a function that sees
// one HTTP exchange as straight-line code, and Main makes a server of it.
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
// # Deciding only
//
// An [Authorizer] sees the request and gives a [Verdict]. It is served as ext_authz, which costs Envoy
// less than a stream per request. [Serve] and [Main] take either kind.
//
// The examples below are complete programs.
package sdk
