package resource

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearest returns the candidate that a misspelt word probably means, and "" if none is near.
func nearest(word string, candidates []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, candidate := range candidates {
		if len(word) > 64 || abs(len(word)-len(candidate)) >= least {
			continue
		}
		distance := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(candidate))
		if distance < least {
			best, least = candidate, distance
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// suggestion ends the message about an unknown field.
func suggestion(word string, known []string) string {
	slices.Sort(known)
	known = slices.Compact(known)
	if meant := nearest(word, known); meant != "" {
		return "is not a known field; did you mean " + meant + "?"
	}
	switch {
	case len(known) == 0:
		return "is not a known field; remove it"
	case len(known) > 20:
		return "is not a known field; correct or remove it"
	}
	return "is not a known field; known here are " + strings.Join(known, ", ")
}
