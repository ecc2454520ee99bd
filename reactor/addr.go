// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"net/netip"
	"os"
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

// sockaddr converts an address for a socket of the family, which can send there.
func sockaddr(f family, to netip.AddrPort) unix.Sockaddr {
	if f == familyIPv4 {
		return &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	return &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port()), ZoneId: zoneIndex(to.Addr())}
}

// named gives the zone of an address its interface's name, which is all that gnet's sockets understand.
func named(a netip.Addr) netip.Addr {
	if index := zoneIndex(a); index != 0 {
		if i, err := net.InterfaceByIndex(int(index)); err == nil {
			return a.WithZone(i.Name)
		}
	}
	return a
}

// namedPort is named for an address with its port.
func namedPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(named(a.Addr()), a.Port())
}

// bindable returns address as gnet's sockets understand it: a zone by its name.
func bindable(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return namedPort(a).String()
	}
	return address
}

// unspecified returns the address of the same family that stands for all.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// tupleOf asks a connected TCP socket for its two addresses.
func tupleOf(fd int) (FourTuple, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return FourTuple{}, os.NewSyscallError("getsockname", err)
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return FourTuple{}, os.NewSyscallError("getpeername", err)
	}
	return FourTuple{Local: addrPortOf(local), Remote: addrPortOf(remote)}, nil
}
