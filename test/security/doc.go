// Package security holds suites of requirements and standards that more than one package answers for.
package security
