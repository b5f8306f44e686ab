// Package kubestatus renders what a translation says of its objects as the statuses of Kubernetes: those
// of the Gateway API for GatewayClass, Gateway and routes, and PolicyStatus for policies.
//
//	objects := kubestatus.Render(kubestatus.Input{Set: set, Conditions: result.Conditions, Listeners: result.Listeners, …})
//	kubestatus.Stamp(objects, before, time.Now())
//
// Rendering is pure: equal input in any order gives equal output, without times. What only a running
// gateway knows comes in as further conditions: policies that don't compile, routes that Envoy refuses,
// listeners that are programmed. Without them Programmed is Unknown.
package kubestatus
