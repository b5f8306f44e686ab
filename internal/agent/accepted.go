package agent

import (
	"errors"
	"io/fs"
	"os"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// keep writes the snapshot in force to disk once Envoy has accepted the whole of it. It serves at a start
// at which the source can't be read, and at no other: access that was revoked must not come back.
func (a *Agent) keep() {
	snap := a.current.Load()
	if a.config.AcceptedPath == "" || snap == nil || snap == a.kept || !a.xds.Synced(snap) || len(a.xds.Rejections()) > 0 {
		return
	}
	text, err := snapshot.Encode(snap)
	if err == nil {
		err = writeFile(a.config.AcceptedPath, text)
	}
	if err != nil {
		a.log.Error("the accepted configuration can't be kept for a restart without its source", "error", err)
	}
	a.kept = snap
}

// Accepted reads the last snapshot that Envoy accepted; nil if there is none.
func Accepted(path string) (*snapshot.Snapshot, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return snapshot.Decode(text)
}
