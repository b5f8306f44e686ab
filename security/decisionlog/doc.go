// Package decisionlog writes down what Rego policies decided and on what grounds, a line of JSON for each
// decision, in the form of OPA's own decision logs:
//
//	{"decision_id": …, "timestamp": …, "policy": "team-a/api", "path": "envoy/authz/allow",
//	 "input": {…}, "result": …, "error": …, "erased": ["/input/…"], "metrics": {"timer_rego_query_eval_ns": …}}
//
// The input is what the policy saw: the parts that its modules mention. A request waits for none of this.
// Events go into a bounded queue, and what doesn't fit into it is dropped and counted.
//
// Credentials never get into a line: the authorization and cookie headers, and every place where the
// policy looks for a token or key, are erased whatever the mask says. Control bytes are escaped (S47).
package decisionlog
