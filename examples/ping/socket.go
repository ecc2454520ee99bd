// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// openICMP returns a socket that sends echo requests, and whether it is raw: a ping socket (icmp(7)), which needs no
// right where the system lets the user's group have one, or else a raw socket.
func openICMP() (conn net.PacketConn, raw bool, err error) {
	conn, pingErr := openPing()
	if pingErr == nil {
		return conn, false, nil
	}
	conn, rawErr := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if rawErr == nil {
		return conn, true, nil
	}
	if errors.Is(rawErr, os.ErrPermission) {
		return nil, false, errors.New(missingRight())
	}
	return nil, false, fmt.Errorf("%w; %w", pingErr, rawErr)
}

// openPing makes a ping socket. Package net has none, but takes it.
func openPing() (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "ping socket")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil { // to an identifier that the system chooses
		return nil, os.NewSyscallError("bind", err)
	}
	return net.FilePacketConn(f)
}

// missingRight says what would help whoever may open neither.
func missingRight() string {
	const groups = "/proc/sys/net/ipv4/ping_group_range"
	text := "no right to send ICMP: a raw socket needs CAP_NET_RAW (root has it)"
	if allowed, err := os.ReadFile(groups); err == nil {
		text += fmt.Sprintf(", a ping socket a group within net.ipv4.ping_group_range, which is %q, not group %d",
			strings.Join(strings.Fields(string(allowed)), " "), os.Getgid())
	} else if runtime.GOOS == "linux" {
		text += ", a ping socket a group within net.ipv4.ping_group_range"
	}
	return text
}
