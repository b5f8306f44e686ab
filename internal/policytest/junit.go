package policytest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Time     string   `xml:"time,attr"`
	Suites   []*suite `xml:"testsuite"`
}

type suite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Time     string     `xml:"time,attr"`
	Cases    []testcase `xml:"testcase"`

	took time.Duration
}

type testcase struct {
	Name    string   `xml:"name,attr"`
	Class   string   `xml:"classname,attr"`
	Time    string   `xml:"time,attr"`
	Failure *failure `xml:"failure"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the outcomes as a report in JUnit's XML: a suite for each file of cases.
func JUnit(w io.Writer, outcomes []Outcome) error {
	report := suites{}
	byFile := map[string]*suite{}
	var total time.Duration
	for i := range outcomes {
		o := &outcomes[i]
		s := byFile[o.Case.File]
		if s == nil {
			s = &suite{Name: o.Case.File}
			byFile[o.Case.File] = s
			report.Suites = append(report.Suites, s)
		}
		c := testcase{Name: o.Case.Name, Class: o.Case.File, Time: seconds(o.Took)}
		if len(o.Faults) > 0 {
			c.Failure = &failure{Message: o.Faults[0], Text: strings.Join(o.Faults, "\n")}
			s.Failures++
			report.Failures++
		}
		s.Cases = append(s.Cases, c)
		s.Tests++
		report.Tests++
		s.took += o.Took
		total += o.Took
	}
	for _, s := range report.Suites {
		s.Time = seconds(s.took)
	}
	report.Time = seconds(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
