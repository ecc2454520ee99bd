// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor

import (
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control messages tell to which address and by which interface a datagram came, and set from which one leaves:
// ip(7), ipv6(7), cmsg(3).

// reusePortSpreads says whether the kernel spreads datagrams over the sockets of a port.
const reusePortSpreads = true

// A control has room for the messages of one datagram; IP_PKTINFO, IPV6_PKTINFO, SO_RXQ_OVFL and UDP_GRO together take
// 120 bytes. Aligned for their headers.
type control [15]uint64

func (c *control) base() *byte   { return (*byte)(unsafe.Pointer(c)) }
func (c *control) bytes() []byte { return unsafe.Slice(c.base(), unsafe.Sizeof(*c)) }

// wantControl asks the kernel for the messages: the address only of a socket of all interfaces, others know it. An
// IPv6 socket gets that of IPv4 datagrams both ways; IP_PKTINFO knows more, see Datagram.control. What other sockets of
// the machine joined groups for is kept away.
func wantControl(fd int, f family, all bool) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	if err == nil && all && f != familyIPv4 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	if err == nil && all && f != familyIPv6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	if err == nil && f != familyIPv6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	}
	if f != familyIPv4 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0) // since Linux 4.20
	}
	return os.NewSyscallError("setsockopt", err)
}

// speaksUDP says whether a socket is one of UDP, and neither raw nor a ping socket.
func speaksUDP(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err != nil || protocol == unix.IPPROTO_UDP
}

// setGroup4 sets an option that takes a group and an interface.
func setGroup4(fd, option int, group [4]byte, ifIndex int) error {
	return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, option, &unix.IPMreqn{Multiaddr: group, Ifindex: int32(ifIndex)})
}

// control fills d from the messages of b, which is aligned.
func (d *Datagram) control(b []byte) (drops uint32, told bool) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			break
		}
		data := b[unix.CmsgLen(0):size]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(unsafe.SliceData(data)))
			d.arrived(netip.AddrFrom4(info.Addr), uint32(info.Ifindex))
			d.source = netip.AddrFrom4(info.Spec_dst) // To, or for broadcast and multicast the interface's own
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(unsafe.SliceData(data)))
			if to := netip.AddrFrom16(info.Addr); !to.Is4In6() {
				d.arrived(to, info.Ifindex)
			}
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			d.segment = int(*(*int32)(unsafe.Pointer(unsafe.SliceData(data))))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			drops, told = *(*uint32)(unsafe.Pointer(unsafe.SliceData(data))), true
		}
		b = b[min(unix.CmsgSpace(len(data)), len(b)):]
	}
	return drops, told
}

// arrived notes where the datagram came in.
func (d *Datagram) arrived(to netip.Addr, ifIndex uint32) {
	if to.IsLinkLocalUnicast() {
		to = zoned(to, ifIndex)
	}
	if !to.IsMulticast() {
		d.source = to
	}
	d.To = netip.AddrPortFrom(to, d.To.Port())
	d.IfIndex = int(ifIndex)
}

// putSource makes c the message that sets the source address, and returns its length; 0 if there is none to set.
func (c *control) putSource(source netip.Addr) int {
	switch {
	case !source.IsValid():
		return 0
	case source.Is4():
		info := (*unix.Inet4Pktinfo)(c.header(0, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo))
		*info = unix.Inet4Pktinfo{Spec_dst: source.As4()}
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	default:
		info := (*unix.Inet6Pktinfo)(c.header(0, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo))
		*info = unix.Inet6Pktinfo{Addr: source.As16(), Ifindex: zoneIndex(source)}
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
}

// putSegment adds the message that has a payload sent in segments of size bytes to those of the first used bytes, and
// returns the length of all.
func (c *control) putSegment(used, size int) int {
	*(*uint16)(c.header(used, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)) = uint16(size)
	return used + unix.CmsgSpace(2)
}

// header puts a message of size bytes behind the first used ones of c and returns where these lie.
func (c *control) header(used int, level, kind int32, size int) unsafe.Pointer {
	at := unsafe.Add(unsafe.Pointer(c), used)
	h := (*unix.Cmsghdr)(at)
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return unsafe.Add(at, unix.CmsgLen(0))
}

// wantOffload turns GRO on or off and says of each whether it was asked for and the kernel has it: UDP_GRO since Linux
// 5.0, UDP_SEGMENT since 4.18.
func wantOffload(fd int, gro, gso bool) (bool, bool) {
	on := 0 // a socket that was handed over may have it on
	if gro {
		on = 1
	}
	gro = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, on) == nil && gro
	if gso {
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		gso = err == nil
	}
	return gro, gso
}
