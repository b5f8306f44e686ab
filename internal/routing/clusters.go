package routing

import (
	"fmt"
	"net"
	"strconv"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// clusters holds the endpoints of every cluster: host:port, a socket's path, or nothing.
type clusters map[string][]string

// Endpoints returns where a cluster sends requests, and false for one that doesn't exist.
func (t *Table) Endpoints(cluster string) (addresses []string, exists bool) {
	addresses, exists = t.clusters[cluster]
	return addresses, exists
}

func readClusters(snap *snapshot.Snapshot) (clusters, error) {
	assignments := map[string]*endpoint.ClusterLoadAssignment{}
	for _, r := range snap.Resources[snapshot.Endpoint] {
		a := &endpoint.ClusterLoadAssignment{}
		if err := proto.Unmarshal(r.Body, a); err != nil {
			return nil, fmt.Errorf("endpoints %s: %w", r.Name, err)
		}
		assignments[r.Name] = a
	}
	all := clusters{}
	for _, r := range snap.Resources[snapshot.Cluster] {
		c := &cluster.Cluster{}
		if err := proto.Unmarshal(r.Body, c); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", r.Name, err)
		}
		assignment := c.GetLoadAssignment()
		if r.EDS != "" {
			assignment = assignments[r.EDS]
		}
		all[r.Name] = nil
		for _, locality := range assignment.GetEndpoints() {
			for _, e := range locality.GetLbEndpoints() {
				all[r.Name] = append(all[r.Name], addressText(e.GetEndpoint().GetAddress()))
			}
		}
		if c.GetClusterType() != nil && len(all[r.Name]) == 0 {
			all[r.Name] = []string{c.GetClusterType().GetName()} // its endpoints are found at run time
		}
	}
	return all, nil
}

func addressText(a *core.Address) string {
	if path := a.GetPipe().GetPath(); path != "" {
		return "unix:" + path
	}
	s := a.GetSocketAddress()
	return net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue())))
}
