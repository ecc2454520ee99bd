// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package reactor

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The contract of packet_control_linux.go without control messages: the systems differ in them, and none is tested
// on.

const reusePortSpreads = false

type control struct{}

func (*control) bytes() []byte { return nil }

func wantControl(int, family, bool) error { return nil }

func (*Datagram) control([]byte) (drops uint32, told bool) { return 0, false }

func (*control) putSource(netip.Addr) int { return 0 }

func (*control) putSegment(int, int) int { return 0 }

func wantOffload(int, bool, bool) (gro, gso bool) { return false, false }

// speaksUDP does not know ping sockets.
func speaksUDP(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err != nil || kind == unix.SOCK_DGRAM
}

// setGroup4 sets an option that takes a group and an interface, which every system knows by an address.
func setGroup4(fd, option int, group [4]byte, ifIndex int) error {
	mreq := &unix.IPMreq{Multiaddr: group}
	if ifIndex > 0 {
		i, err := net.InterfaceByIndex(ifIndex)
		if err != nil {
			return err
		}
		addrs, err := i.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				mreq.Interface = [4]byte(n.IP.To4())
				break
			}
		}
	}
	if option == unix.IP_MULTICAST_IF {
		return unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, option, mreq.Interface)
	}
	return unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, option, mreq)
}
