// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Multicast: ip(7), ipv6(7). gnet's way to join is not used, for it turns IP_MULTICAST_LOOP off as it does so.

// Join has the listener receive what is sent to a multicast group, by the interface of that number (net.Interface's
// Index; 0 lets the system choose, or takes the group's zone). The datagrams of a group come to one of the listener's
// sockets, hence to one loop. On Linux nothing else that the machine receives for groups reaches the listener. Any
// goroutine may call it. Errors are *net.OpError: EPROTOTYPE for a listener of streams, net.ErrClosed after Close, else
// what the system says.
func (lis *Listener) Join(group netip.Addr, ifIndex int) error {
	return lis.membership("join", true, group, ifIndex)
}

// Leave undoes Join.
func (lis *Listener) Leave(group netip.Addr, ifIndex int) error {
	return lis.membership("leave", false, group, ifIndex)
}

func (lis *Listener) membership(op string, join bool, group netip.Addr, ifIndex int) error {
	s, ok := lis.sockets[0].(*PacketConn)
	if !ok {
		return &net.OpError{Op: op, Net: lis.network, Addr: lis.addr, Err: unix.EPROTOTYPE}
	}
	return s.membership(op, join, group, ifIndex)
}

func (s *PacketConn) membership(op string, join bool, group netip.Addr, ifIndex int) error {
	group = group.Unmap()
	err := func() error {
		switch {
		case !group.IsMulticast():
			return fmt.Errorf("%v is no multicast address", group)
		case ifIndex < 0:
			return fmt.Errorf("interface %d, must not be negative", ifIndex)
		case group.Is4() && s.family == familyIPv6, group.Is6() && s.family == familyIPv4:
			return os.NewSyscallError("setsockopt", unix.EAFNOSUPPORT)
		}
		s.listener.mu.Lock() // the loop may be about to close it
		defer s.listener.mu.Unlock()
		if s.fd < 0 {
			return net.ErrClosed
		}
		return os.NewSyscallError("setsockopt", setMembership(s.fd, join, group, ifIndex))
	}()
	if err == nil {
		return nil
	}
	addr := &net.IPAddr{IP: group.AsSlice(), Zone: group.Zone()}
	return &net.OpError{Op: op, Net: s.listener.network, Source: s.listener.addr, Addr: addr, Err: err}
}

func setMembership(fd int, join bool, group netip.Addr, ifIndex int) error {
	if group.Is4() {
		option := unix.IP_DROP_MEMBERSHIP
		if join {
			option = unix.IP_ADD_MEMBERSHIP
		}
		return setGroup4(fd, option, group.As4(), ifIndex)
	}
	option := unix.IPV6_LEAVE_GROUP
	if join {
		option = unix.IPV6_JOIN_GROUP
	}
	if ifIndex == 0 {
		ifIndex = int(zoneIndex(group))
	}
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifIndex)})
}

// setMulticast sets what is not the default, for each of the protocols that the socket speaks.
func (o *PacketOptions) setMulticast(fd int, f family) (err error) {
	set := func(wanted bool, level, option, value int) {
		if wanted && err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
		}
	}
	if f != familyIPv6 {
		set(o.MulticastHops > 0, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, o.MulticastHops)
		set(o.NoMulticastLoop, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
		if o.MulticastInterface > 0 && err == nil {
			err = os.NewSyscallError("setsockopt", setGroup4(fd, unix.IP_MULTICAST_IF, [4]byte{}, o.MulticastInterface))
		}
	}
	if f != familyIPv4 {
		set(o.MulticastHops > 0, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, o.MulticastHops)
		set(o.NoMulticastLoop, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0)
		set(o.MulticastInterface > 0, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, o.MulticastInterface)
	}
	return err
}
