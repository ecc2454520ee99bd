// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !race

package reactor

func (c *Conn) assertOnLoop() {}

func (s *PacketConn) assertOnLoop() {}

func (l *loop) assertOnLoop() {}
