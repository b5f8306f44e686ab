package doctor

// Severity says how bad a Finding is.
type Severity string

const (
	// Error is a configuration that Envoy refuses, or that fails exchanges or loses data.
	Error Severity = "error"
	// Warning is one that works until something happens, or does less than it seems to.
	Warning Severity = "warning"
)

// Finding is one contradiction.
type Finding struct {
	Severity Severity
	// Field is the path of a field of ExternalProcessor, such as "processing_mode.request_body_mode"; behind
	// "route." one of ExtProcOverrides.
	Field string
	// Message is what is wrong, Remedy what to do about it.
	Message, Remedy string
}

// String is the finding in one line.
func (f Finding) String() string {
	return f.Field + ": " + f.Message + "; " + f.Remedy
}
