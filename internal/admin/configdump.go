package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Pages of which the gateway itself knows something.
const (
	dumpPath  = "/config_dump"
	readyPath = "/ready"
)

// aliases are the short names of config_dump's resources, which Envoy answers by 404: each stands for
// a dynamic and a static form, and a reader wants both.
var aliases = map[string][]string{
	"routes":    {"dynamic_route_configs", "static_route_configs"},
	"clusters":  {"dynamic_active_clusters", "static_clusters"},
	"listeners": {"dynamic_listeners", "static_listeners"},
}

type dump struct {
	Configs []json.RawMessage `json:"configs"`
}

func (h *handler) configDump(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	names, ok := aliases[query.Get("resource")]
	if !ok {
		h.forward(w, r, dumpPath)
		return
	}
	merged := dump{Configs: []json.RawMessage{}}
	for _, name := range names {
		query.Set("resource", name)
		part, err := h.fetchDump(r, query)
		var answer *envoyAnswer
		switch {
		case errors.As(err, &answer):
			http.Error(w, answer.text, answer.status)
			return
		case err != nil:
			h.unreachable(w, r, err)
			return
		}
		merged.Configs = append(merged.Configs, part.Configs...)
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ") // as Envoy does
	if err := encoder.Encode(merged); err != nil {
		h.Logger.Debug("admin page broke off", "path", dumpPath, "error", err)
	}
}

// envoyAnswer is an answer that isn't a dump, for the client to see: a bad mask, for example.
type envoyAnswer struct {
	status int
	text   string
}

func (e *envoyAnswer) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

func (h *handler) fetchDump(r *http.Request, query url.Values) (dump, error) {
	resp, err := h.ask(r, dumpPath, query.Encode())
	if err != nil {
		return dump{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return dump{}, &envoyAnswer{status: resp.StatusCode, text: string(text)}
	}
	var d dump
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return dump{}, fmt.Errorf("config_dump: %w", err)
	}
	return d, nil
}
