package kubestatus

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Table writes a line for each condition: KIND NAMESPACE/NAME CONDITION STATUS REASON MESSAGE. A condition
// that is relative to something says it in brackets, as in Accepted[gw/http], where the object has several.
func Table(w io.Writer, objects []Object) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KIND\tNAMESPACE/NAME\tCONDITION\tSTATUS\tREASON\tMESSAGE")
	for i := range objects {
		o := &objects[i]
		name := o.Metadata.Name
		if o.Metadata.Namespace != "" {
			name = o.Metadata.Namespace + "/" + name
		}
		bare := len(o.Status.Parents)+len(o.Status.Ancestors) == 1
		lines := 0
		o.Status.Each(func(relative string, conditions []metav1.Condition) {
			for _, c := range conditions {
				kind := c.Type
				if relative != "" && !bare {
					kind += "[" + relative + "]"
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Kind, name, kind, c.Status, c.Reason, oneLine(c.Message))
				lines++
			}
		})
		if lines == 0 {
			fmt.Fprintf(table, "%s\t%s\t-\t-\t-\t%s\n", o.Kind, name, "another controller's")
		}
	}
	return table.Flush()
}

// oneLine keeps a message of several lines, as Envoy's may be, in one row.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
