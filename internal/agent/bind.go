package agent

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"syscall"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// binder withholds listeners whose address can't be bound. Envoy listens with SO_REUSEPORT: beside
// another program that does so too it would start without an error and get a part of the connections.
type binder struct {
	probe    func(address string) error // nil: every address is taken to be free
	bound    map[string]bool            // addresses that Envoy was given, and holds
	withheld map[string]error
}

func newBinder(probe func(address string) error) *binder {
	return &binder{probe: probe, bound: map[string]bool{}, withheld: map[string]error{}}
}

// Probe reports why an address can't be bound, with the remedy; nil if it can.
func Probe(address string) error {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program: stop it or choose another port", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s needs privileges: run as root, grant CAP_NET_BIND_SERVICE, or choose a port from 1024 on", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: this machine has no such address; correct spec.addresses of the Gateway", address)
	}
	return err
}

// allow returns snap without the listeners that can't be bound, snap itself if all can.
func (b *binder) allow(snap *snapshot.Snapshot) *snapshot.Snapshot {
	if b.probe == nil {
		return snap
	}
	wanted := map[string]bool{}
	clear(b.withheld)
	for _, l := range snap.Resources[snapshot.Listener] {
		wanted[l.Address] = true
		if b.bound[l.Address] {
			continue
		}
		if err := b.probe(l.Address); err != nil {
			b.withheld[l.Address] = err
			continue
		}
		b.bound[l.Address] = true
	}
	maps.DeleteFunc(b.bound, func(address string, _ bool) bool { return !wanted[address] })
	if len(b.withheld) == 0 {
		return snap
	}
	out := *snap
	out.Resources = maps.Clone(snap.Resources)
	out.Resources[snapshot.Listener] = slices.DeleteFunc(slices.Clone(snap.Resources[snapshot.Listener]), func(l snapshot.Resource) bool {
		return b.withheld[l.Address] != nil
	})
	return &out
}

// tellWithheld logs what has changed. The caller holds publishing.
func (a *Agent) tellWithheld(before map[string]error) {
	for address, err := range a.binder.withheld {
		if before[address] == nil {
			a.log.Error("a listener is not served; it is tried again every second", "error", err)
		}
	}
	for address := range before {
		if a.binder.withheld[address] == nil {
			a.log.Info("the listener's address can be bound now", "address", address)
		}
	}
}

// retryWithheld publishes again while a listener waits for its address.
func (a *Agent) retryWithheld() {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	for address := range a.binder.withheld {
		if a.config.Probe(address) == nil {
			a.publish()
			return
		}
	}
}

// Withheld says, by address, which listeners aren't served because their address can't be bound.
func (a *Agent) Withheld() map[string]error {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	return maps.Clone(a.binder.withheld)
}
