// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// maxResolving bounds the goroutines that look up names for the dials of a reactor. Further dials wait for one.
const maxResolving = 64

// A resolver turns the names that dials were given into addresses, off the loops. Any goroutine.
type resolver struct {
	mu      sync.Mutex
	waiting []resolvable // at most MaxDials
	running int
}

// A resolvable is a dial to a name. A dial that is over has a context that is done, which ends its lookup at once.
type resolvable interface {
	resolve() // look the name up and tell the loop
}

func (v *resolver) add(d resolvable) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running == maxResolving {
		v.waiting = append(v.waiting, d)
		return
	}
	v.running++
	go v.run(d)
}

// run looks up one name after the other until none waits.
func (v *resolver) run(first resolvable) {
	for d := first; d != nil; d = v.next() {
		d.resolve()
	}
}

func (v *resolver) next() resolvable {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.waiting) == 0 {
		v.running--
		return nil
	}
	d := v.waiting[0]
	v.waiting[0] = nil
	v.waiting = v.waiting[1:]
	return d
}

func (d *dial) resolve() {
	addrs, err := d.lookup()
	_ = d.loop.postLoop(func() { d.resolved(addrs, err) })
}

// lookup asks for the numbers of host and port.
func (d *dial) lookup() ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(d.address)
	if err != nil {
		return nil, err
	}
	names := cancellable(d.opts.Resolver)
	port, err := names.LookupPort(d.ctx, d.origin.network, service)
	if err != nil {
		return nil, err
	}
	ips := []netip.Addr{netip.IPv4Unspecified()}
	if host != "" {
		network := "ip" + d.origin.network[len("tcp"):]
		if ips, err = names.LookupNetIP(d.ctx, network, host); err != nil {
			return nil, err
		}
	}
	return d.suitable(ips, uint16(port))
}

// cancellable returns a Resolver like r whose lookups end with their context. Package net shares them between callers,
// and then they go on, as do those that wait for a name server, until its answer or timeout. What the C library does
// for a lookup cannot be ended; see net's "Name Resolution".
func cancellable(r *net.Resolver) *net.Resolver {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &net.Resolver{
		PreferGo: r.PreferGo, StrictErrors: r.StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() }) // the context is that of one question
			}
			return conn, err
		},
	}
}

// parse returns the address if it is made of numbers, so that there is nothing to look up.
func (d *dial) parse() (addrs []netip.AddrPort, known bool, err error) {
	host, service, err := net.SplitHostPort(d.address)
	if err != nil {
		return nil, false, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, false, nil
	}
	ip := netip.IPv4Unspecified()
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return nil, false, nil
		}
	}
	addrs, err = d.suitable([]netip.Addr{ip}, uint16(port))
	return addrs, true, err
}

// suitable returns those that the network and the local address permit, at least one. Unspecified addresses mean this
// host, as in package net.
func (d *dial) suitable(ips []netip.Addr, port uint16) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	family, local := d.origin.network[len("tcp"):], d.opts.Local.Addr()
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.IsUnspecified() {
			ip = loopback(family)
		}
		wrong := family == "4" && !ip.Is4() || family == "6" && ip.Is4() || local.IsValid() && local.Is4() != ip.Is4()
		if !wrong {
			addrs = append(addrs, netip.AddrPortFrom(named(ip), port))
		}
	}
	if len(addrs) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: d.address}
	}
	return addrs, nil
}

func loopback(family string) netip.Addr {
	if family == "6" {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
