// Package doctor finds contradictions in the configuration of an ext_proc filter: what Envoy refuses, what
// it ignores without a word, and what a given processor needs and doesn't get.
//
//	findings, err := doctor.CheckJSON(filter, nil, &doctor.Needs{RequestBody: doctor.Edit, Reply: true})
//	for _, f := range findings {
//		fmt.Println(f)
//	}
//
// A [Finding] names the field of the configuration, and what to do. What is said of Envoy's behaviour is
// release 1.40's; docs/conformance/extproc.md has most of it on record.
package doctor
