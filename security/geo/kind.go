package geo

import (
	"fmt"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Kind is what a database is used as.
type Kind string

// The kinds.
const (
	Country     Kind = "Country"
	City        Kind = "City"
	ASN         Kind = "ASN"
	ISP         Kind = "ISP"
	AnonymousIP Kind = "Anonymous-IP"
)

// kindFacts say what the metadata's database_type of a kind has in it, and by which fields its records are
// known.
var kindFacts = map[Kind]struct {
	types  []string
	fields [][]any
}{
	Country:     {[]string{"country", "city", "enterprise"}, [][]any{countryPath}},
	City:        {[]string{"city", "enterprise"}, [][]any{cityPath, regionPath, countryPath}},
	ASN:         {[]string{"asn", "isp"}, [][]any{asnPath}},
	ISP:         {[]string{"isp"}, [][]any{ispPath, asnPath}},
	AnonymousIP: {[]string{"anonymous"}, anonymousPaths()},
}

// sampled is how many networks may pass before one must have a field of the kind.
const sampled = 10_000

// database is one state of a file. Its reader is safe for concurrent use.
type database struct {
	reader  *maxminddb.Reader
	checked map[Kind]error // guarded by source.mu
}

// check says why the database can't be used as that kind.
func (d *database) check(k Kind) error {
	err, known := d.checked[k]
	if !known {
		err = k.check(d.reader)
		d.checked[k] = err
	}
	return err
}

// check says why a database can't be of the kind. Its name alone could be a coincidence, and of an Anonymous IP
// database with other fields every address would be in none of the networks.
func (k Kind) check(r *maxminddb.Reader) error {
	facts, name := kindFacts[k], strings.ToLower(r.Metadata.DatabaseType)
	named := false
	for _, part := range facts.types {
		named = named || strings.Contains(name, part)
	}
	if !named {
		return fmt.Errorf("it is a database of type %q and can't be used as %s; put one of that kind there", r.Metadata.DatabaseType, k)
	}
	networks := 0
	for result := range r.Networks() {
		if err := result.Err(); err != nil {
			return fmt.Errorf("it is damaged: %w", err)
		}
		for _, path := range facts.fields {
			if has(result, path) {
				return nil
			}
		}
		if networks++; networks == sampled {
			break
		}
	}
	return fmt.Errorf("none of the first %d networks has the fields of a MaxMind %s database; put one of that kind there", networks, k)
}

func has(result maxminddb.Result, path []any) bool {
	var value any
	return result.DecodePath(&value, path...) == nil && value != nil
}
