package envoy

import (
	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	file "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessFields is the default access log: one JSON object a request, on standard output. No header that
// carries a credential is in it, and of the path only what precedes the query: tokens may stand there.
var accessFields = map[string]string{
	"time":                  "%START_TIME%",
	"request_id":            "%REQ(X-REQUEST-ID)%",
	"client":                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
	"method":                "%REQ(:METHOD)%",
	"authority":             "%REQ(:AUTHORITY)%",
	"path":                  "%PATH(NQ:ORIG_OR_PATH)%",
	"protocol":              "%PROTOCOL%",
	"status":                "%RESPONSE_CODE%",
	"response_flags":        "%RESPONSE_FLAGS%",
	"response_code_details": "%RESPONSE_CODE_DETAILS%",
	"bytes_received":        "%BYTES_RECEIVED%",
	"bytes_sent":            "%BYTES_SENT%",
	"duration_ms":           "%DURATION%",
	"route":                 "%ROUTE_NAME%",
	"upstream":              "%UPSTREAM_HOST%",
	"user_agent":            "%REQ(USER-AGENT)%",
}

func accessLog() []*accesslog.AccessLog {
	fields := make(map[string]*structpb.Value, len(accessFields))
	for name, format := range accessFields {
		fields[name] = structpb.NewStringValue(format)
	}
	return []*accesslog.AccessLog{{
		Name: "envoy.access_loggers.file",
		ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: typed(&file.FileAccessLog{
			Path: "/dev/stdout",
			AccessLogFormat: &file.FileAccessLog_LogFormat{LogFormat: &core.SubstitutionFormatString{
				Format: &core.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}}
}
