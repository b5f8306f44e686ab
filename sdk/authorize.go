package sdk

import (
	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// Authorize makes a an ext_proc [Processor] with the verdicts that it has by ext_authz: for filters that
// exist already, or in front of other processors in a [Chain]. What the filter has to send is said at
// [extproc.Authorize].
func Authorize(a Authorizer, opts ...extproc.AuthorizerOption) Processor {
	return extproc.Authorize(func(*exchange.Request) exchange.Authorizer { return a }, opts...)
}
