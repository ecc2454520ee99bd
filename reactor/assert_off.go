// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !race

package reactor

import "github.com/valyala/bytebufferpool"

func (c *Conn) assertOnLoop() {}

func (s *PacketConn) assertOnLoop() {}

func (l *loop) assertOnLoop() {}

func noteTaken(*bytebufferpool.ByteBuffer) {}

func noteReturned(*bytebufferpool.ByteBuffer) {}
