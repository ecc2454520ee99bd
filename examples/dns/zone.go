// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/miekg/dns"
)

// zones are all that is served. Nothing changes them once they are read, so that every loop may look into them.
type zones struct {
	soa   map[string]*dns.SOA            // by the zone's own name, with the TTL of a negative answer (RFC 2308)
	names map[string]map[uint16][]dns.RR // by name and type; names that only have others below them have no types
}

// readZones reads a file as RFC 1035 has it. It may hold several zones, each with a SOA record. What more than a look-up
// would be needed for, aliases, wildcards and delegations, is refused.
func readZones(r io.Reader, file string) (*zones, error) {
	z := &zones{soa: make(map[string]*dns.SOA), names: make(map[string]map[uint16][]dns.RR)}
	parser := dns.NewZoneParser(r, ".", file)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if err := z.add(rr); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, rr, err)
		}
	}
	if err := parser.Err(); err != nil {
		return nil, err
	}
	if len(z.soa) == 0 {
		return nil, fmt.Errorf("%s: no SOA record, so no zone", file)
	}
	for name, types := range z.names {
		apex, ok := z.apex(name)
		if !ok && len(types) > 0 {
			return nil, fmt.Errorf("%s: %s is in no zone that has a SOA record", file, name)
		}
		if len(types[dns.TypeNS]) > 0 && name != apex {
			return nil, fmt.Errorf("%s: NS records of %s: the zone %s cannot delegate here", file, name, apex)
		}
	}
	return z, nil
}

// add takes a record, and the names above it into account.
func (z *zones) add(rr dns.RR) error {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	switch {
	case h.Class != dns.ClassINET:
		return errors.New("class must be IN")
	case h.Rrtype == dns.TypeCNAME || h.Rrtype == dns.TypeDNAME:
		return errors.New("aliases are not served")
	case strings.HasPrefix(name, "*."):
		return errors.New("wildcards are not served")
	}
	if soa, ok := rr.(*dns.SOA); ok {
		if z.soa[name] != nil {
			return errors.New("a second SOA record")
		}
		negative := *soa
		negative.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		z.soa[name] = &negative
	}
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if z.names[name[at:]] == nil {
			z.names[name[at:]] = make(map[uint16][]dns.RR)
		}
	}
	z.names[name][h.Rrtype] = append(z.names[name][h.Rrtype], rr)
	return nil
}

// apex returns the zone in which a name is.
func (z *zones) apex(name string) (apex string, ok bool) {
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if z.soa[name[at:]] != nil {
			return name[at:], true
		}
	}
	return "", false
}
