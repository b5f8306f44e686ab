package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/basic"
)

// hashes are one user's password by each scheme.
var hashes = []struct {
	name, hash string
	tries      int
}{
	{"{SHA}", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 20000},
	{"{SSHA}", "{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==", 20000},
	{"apr1", "$apr1$saltsalt$qYpLAVWkBvXFyDme7.oc1/", 1000},
	{"SHA-256-crypt", "$5$saltstring$gza23T1nDl5F.USvgw5ApzJdGFAWiVYC0JyfjHvp.EB", 300},
	{"SHA-512-crypt", "$6$saltstring$oLQSZs4or62UyAWPREnQE/jCVfS8V9Ukp72AjYZH0jLldHzP1TQqAw10LZL5NZaQaD6B/Vk6PHUB6BfLScL2U/", 300},
	{"bcrypt 5", "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", 400},
}

// timing compares two answers that must not be told apart: to an unknown user, and to a wrong password.
// Tries alternate; t is Welch's, of which |t| below 4.5 is what leakage tests call no difference.
func timing(ctx context.Context) error {
	fmt.Printf("\n| hash | unknown user | wrong password | difference of the medians | t |\n|---|---|---|---|---|\n")
	for _, h := range hashes {
		users, err := basic.Parse([]byte("alice:"+h.hash), basic.Options{})
		if err != nil {
			return err
		}
		var took [2][]float64
		for try := range 2 * h.tries {
			user := [2]string{"carol", "alice"}[try%2]
			start := time.Now()
			ok, err := users.Verify(ctx, user, "not the password")
			if err != nil || ok {
				return fmt.Errorf("%s: %v %w", h.name, ok, err)
			}
			took[try%2] = append(took[try%2], float64(time.Since(start)))
		}
		unknown, wrong := quantile(took[0], 0.5), quantile(took[1], 0.5)
		fmt.Printf("| %s | %s | %s | %+.2f %% | %.1f |\n", h.name, time.Duration(unknown), time.Duration(wrong), 100*(unknown-wrong)/wrong, welch(trimmed(took[0]), trimmed(took[1])))
	}
	return nil
}

// trimmed leaves out the slowest tenth: what the machine did meanwhile.
func trimmed(values []float64) []float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[:len(sorted)*9/10]
}

func welch(a, b []float64) float64 {
	meanA, varA := moments(a)
	meanB, varB := moments(b)
	return (meanA - meanB) / math.Sqrt(varA/float64(len(a))+varB/float64(len(b)))
}

func moments(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	for _, v := range values {
		variance += (v - mean) * (v - mean)
	}
	return mean, variance / float64(len(values)-1)
}
