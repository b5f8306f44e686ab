// Package resource is the translator's input: an immutable, typed set of Kubernetes objects, and the
// decoding of manifests into it.
//
//	document := resource.Decode(text)
//	builder := resource.NewBuilder(previous)
//	builder.Add(document, resource.Origin{File: "gateway.yaml", Line: 1})
//	set, problems := builder.Build()
//	route, ok := set.HTTPRoutes.Get("tenant", "example-app")
//
// A [Document] is decoded once and may be added to any number of sets: objects of an unchanged document
// are the same pointers in each, so that a translator can recognise what changed by comparing pointers.
// Nobody writes to an object of a Set.
//
// Decoding fails closed. A policy whose text has a fault stays in the set with the reason (see
// [Set.Invalid]), so that what it was meant to protect isn't served without it; any other object with a
// fault is left out.
package resource
