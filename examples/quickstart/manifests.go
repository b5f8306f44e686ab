package main

import (
	"embed"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

//go:embed *.yaml
var manifests embed.FS

var portLine = regexp.MustCompile(`(?m)^(\s+port: )(\d+)$`)

// writeManifests copies the manifests to dir, with these ports and keys. The directory is private: it
// holds keys.
func writeManifests(dir string, p ports, k *keys) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := manifests.ReadDir(".")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := manifests.ReadFile(file.Name())
		if err != nil {
			return err
		}
		switch file.Name() {
		case "tls.yaml":
			text = k.tlsManifest()
		case "keys.yaml":
			text = k.keysManifest()
		}
		if err := os.WriteFile(filepath.Join(dir, file.Name()), withPorts(text, p), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func withPorts(text []byte, p ports) []byte {
	moved := map[string]int{"8080": p.http, "8443": p.https, "9001": p.backend, "9002": p.processor}
	return portLine.ReplaceAllFunc(text, func(line []byte) []byte {
		m := portLine.FindStringSubmatch(string(line))
		if port, ok := moved[m[2]]; ok {
			return []byte(m[1] + strconv.Itoa(port))
		}
		return line
	})
}
