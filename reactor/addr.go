// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// addrPortOf converts an address of x/sys, IPv4 in IPv6 to IPv4.
func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(zoned(netip.AddrFrom16(sa.Addr).Unmap(), sa.ZoneId), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// zoned gives a link-local address its zone, as the number of the interface: a name would take a system call.
func zoned(a netip.Addr, index uint32) netip.Addr {
	if index == 0 || a.Is4() {
		return a
	}
	return a.WithZone(strconv.FormatUint(uint64(index), 10))
}
