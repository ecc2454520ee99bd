// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acceptOne accepts one connection. x/sys's Accept4 would allocate the address and ask the socket for its protocol;
// here the address is written where it stays until it is converted.
func (a *acceptor) acceptOne() (int, FourTuple, unix.Errno) {
	raw := &a.loop.rawAddr
	fd, errno := accept4(a.fd, raw)
	if errno != 0 {
		return -1, FourTuple{}, errno
	}
	if a.listener.isUnix() {
		return fd, FourTuple{}, 0
	}
	remote := addrPort(raw)
	local := a.listener.local
	if local.Addr().IsUnspecified() {
		size := uint32(unsafe.Sizeof(*raw))
		if _, _, errno = unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(raw)), uintptr(unsafe.Pointer(&size))); errno != 0 {
			_ = unix.Close(fd)
			return -1, FourTuple{}, unix.ECONNABORTED
		}
		local = addrPort(raw)
	}
	return fd, FourTuple{Local: local, Remote: remote}, 0
}

// rawAddr is where the kernel writes addresses.
type rawAddr = unix.RawSockaddrAny

// addrPort converts what the kernel wrote, IPv4 in IPv6 to IPv4. Zones are interface numbers.
func addrPort(raw *rawAddr) netip.AddrPort {
	switch raw.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), bigEndian(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(zoned(netip.AddrFrom16(sa.Addr).Unmap(), sa.Scope_id), bigEndian(&sa.Port))
	}
	return netip.AddrPort{}
}

// bigEndian reads a port as it lies in memory, in network order.
func bigEndian(port *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(port))
	return uint16(b[0])<<8 | uint16(b[1])
}
