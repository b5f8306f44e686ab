package routing

import (
	"strings"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// normalised applies a connection manager's settings to a path, in Envoy's order (ConnectionManagerUtility::
// maybeNormalizePath). status is 400 for one that Envoy refuses, 307 where the client is sent to the
// normal form, else 0.
func normalised(m *hcm.HttpConnectionManager, target string) (path string, status int) {
	if strings.ContainsRune(target, '#') {
		return target, 400
	}
	path, query := splitQuery(target)
	if action := m.GetPathWithEscapedSlashesAction(); action > hcm.HttpConnectionManager_KEEP_UNCHANGED {
		if plain := unescapeSlashes(path); plain != path {
			path = plain
			switch action {
			case hcm.HttpConnectionManager_REJECT_REQUEST:
				return target, 400
			case hcm.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
				status = 307
			}
		}
	}
	if m.GetNormalizePath().GetValue() {
		canonical, ok := canonicalPath(path)
		if !ok {
			return target, 400
		}
		path = canonical
	}
	if m.GetMergeSlashes() {
		path = mergeSlashes(path)
	}
	return path + query, status
}

// splitQuery cuts at the first "?", which stays with the query.
func splitQuery(target string) (path, query string) {
	if at := strings.IndexByte(target, '?'); at >= 0 {
		return target[:at], target[at:]
	}
	return target, ""
}

func unescapeSlashes(path string) string {
	return strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`).Replace(path)
}

func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// canonicalPath is what the URL library in Envoy makes of a path: dot segments go, a backslash is a
// slash, unreserved characters are plain and unsafe ones escaped. false: the path is refused.
func canonicalPath(path string) (string, bool) {
	if path == "" {
		return "/", true
	}
	segments := strings.Split(strings.ReplaceAll(path, `\`, "/")[1:], "/")
	var kept []string
	for i, raw := range segments {
		segment, ok := canonicalSegment(raw)
		if !ok {
			return "", false
		}
		dots := segment
		if before, _, params := strings.Cut(raw, ";"); params { // "..;x" goes as ".." does, "%2e%2e;x" stays
			dots = before
		}
		switch dots {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/"), true
}

func canonicalSegment(raw string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '%' && i+2 < len(raw) && hexValue(raw[i+1]) >= 0 && hexValue(raw[i+2]) >= 0:
			decoded := byte(hexValue(raw[i+1])<<4 | hexValue(raw[i+2])) //nolint:gosec // two digits are a byte
			if decoded == 0 {
				return "", false
			}
			if unreserved(decoded) {
				out.WriteByte(decoded)
			} else {
				out.WriteString(raw[i : i+3])
			}
			i += 2
		case c <= ' ' || c >= 0x7f: // HTTP/1 allows none of them in a request line
			return "", false
		case strings.IndexByte("\"<>`{}|^", c) >= 0:
			escape(&out, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), true
}

func escape(out *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	out.WriteByte('%')
	out.WriteByte(digits[c>>4])
	out.WriteByte(digits[c&15])
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unreserved is RFC 3986 section 2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
