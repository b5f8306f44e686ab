// Package geo looks up where client addresses are, in databases in MaxMind's DB format. Every database is
// read into memory once however many policies use it, and again when its file changes.
//
//	databases := geo.New(geo.Options{})
//	defer databases.Close()
//	locator, err := databases.Open("team-a/shop", config.GeoIP{CountryDB: "/var/lib/GeoIP/GeoLite2-Country.mmdb"})
//	if err != nil {
//		return err // a path that can't be one
//	}
//	defer locator.Close()
//	if locator.Ready() { // false: deny
//		place := locator.At(client)
//		country, known := place.Country()
//	}
//
// A file that isn't there, or isn't a database of the kind it is used as, makes the locator not ready; it is
// looked at twice a second. One that breaks later changes nothing but what [Databases.States] tells: the
// last good contents go on. It may be replaced by renaming or be written in place: new contents are taken
// once the file has stayed the same for half a second.
//
// What a database doesn't know is not known, which is another answer than any value. The one exception is
// the Anonymous IP database: it lists anonymous networks and has a flag only where it is true, so an address
// that isn't listed is known to be none of them (https://dev.maxmind.com/geoip/docs/databases/anonymous-ip).
package geo
