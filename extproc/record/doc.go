// Package record keeps streams between an ext_proc filter and its processor, as text that people read and
// sdktest.Replay plays again.
//
//	recorder, err := record.New("/var/lib/guard/streams", record.Options{})
//	...
//	err = sdk.Serve(ctx, addr, guard, sdk.WithGRPC(grpc.ChainStreamInterceptor(recorder.Intercept)))
//
// What is kept is redacted: see [Redactor]. A file is a txtar archive, one section a message:
//
//	-- metadata --
//	x-gatehouse-extproc: v=1; override
//	-- > request_headers --
//	{"requestHeaders": {"headers": {"headers": [{"key": ":method", "raw": "GET"}]}, "endOfStream": true}}
//	-- < request_headers --
//	{"requestHeaders": {}}
//	-- end --
//	OK
//
// Where the processor can't be changed, Envoy's own tap is a source, too: see [FromTap].
//
// Messages are protobuf's JSON, in which fields of bytes that hold text are spelt out: raw stands for
// rawValue, text for body.
package record
