// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package reactor

import "net/netip"

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
