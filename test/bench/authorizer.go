package main

import (
	"os"
	"strconv"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// authorizers compares the authorizer with a server that allows everything, by ext_authz. It writes the
// policies below dir.
func authorizers(s settings, dir string) (*bench, error) {
	keySet, token, err := newIssuer()
	if err != nil {
		return nil, err
	}
	stock := &row{name: "no-op, stock grpc-go", role: roleStock}
	b := &bench{settings: s, dir: dir, title: "ext_authz", token: token, chain: authorizerChain, base: stock, rows: []*row{
		stock,
		{name: "the same again (A/A)", role: roleStock},
		{name: "no-op, our GC and workers", role: roleTuned},
		{name: "RS256 + claim + CORS + Rego, remembered", role: rolePolicy},
		{name: "the same, Rego each time", role: rolePolicyEachTime},
	}}
	for i, r := range b.rows {
		snap := snapshotOf(r.role, keySet)
		r.reference, r.spec = snap.Policies[0].Ref, dir+"/"+strconv.Itoa(i)+".json"
		text, err := snapshot.Encode(snap)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(r.spec, text, 0o600); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// authorizerChain is cors, and ext_authz as Gatehouse configures it; a stock server gets what Envoy sends if
// nobody says otherwise.
func authorizerChain(r *row, cluster string) chain {
	return chain{
		filters: []object{
			{"name": "cors", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}},
			{"name": "ext_authz", "typed_config": object{
				"@type":                 "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
				"transport_api_version": "V3", "encode_raw_headers": true, "status_on_error": object{"code": 503},
				"grpc_service": object{"timeout": "2s", "envoy_grpc": object{
					"cluster_name": cluster, "skip_envoy_headers": r.role != roleStock,
				}},
			}},
		},
		route: object{"typed_per_filter_config": object{
			"ext_authz": object{
				"@type":          "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
				"check_settings": object{"context_extensions": object{envoy.ExtensionPolicy: r.reference}},
			},
			"cors": object{
				"@type":                     "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
				"allow_origin_string_match": []object{{"exact": origin}},
			},
		}},
	}
}
