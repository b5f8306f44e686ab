// Package house holds the tests of what the repository says of itself.
package house
