// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/process"
)

// gnet-batch is there for the services in which it differs from gnet, and answers messages that come together, the last
// not whole.
func TestGnetBatch(t *testing.T) {
	messages := bytes.Repeat([]byte("\x00\x00\x00\x0c0123456789ab"), 100)
	for _, service := range []string{"frames", "fixed"} {
		p, err := start(t, process.Spec{Server: "gnet-batch", Service: service, Network: "tcp"})
		require.NoError(t, err)
		c, err := net.Dial("tcp", p.Address)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write(messages[:len(messages)-3])
		require.NoError(t, err)
		got := make([]byte, len(messages))
		_, err = io.ReadFull(c, got[:len(got)-16])
		require.NoError(t, err)
		_, err = c.Write(messages[len(messages)-3:])
		require.NoError(t, err)
		_, err = io.ReadFull(c, got[len(got)-16:])
		require.NoError(t, err)
		assert.Equal(t, messages, got)
	}
	p, err := start(t, process.Spec{Server: "gnet-batch", Service: "frames", Network: "tcp"})
	require.NoError(t, err)
	c, err := net.Dial("tcp", p.Address)
	require.NoError(t, err)
	defer c.Close()
	large := append([]byte("\x00\x0f\xff\xfc"), bytes.Repeat([]byte("large"), (1<<20)/5+1)[:1<<20-4]...)
	answer := append(bytes.Clone(large), messages...)
	go func() { _, _ = c.Write(answer) }()
	got := make([]byte, len(answer))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(answer, got))
	_, err = c.Write([]byte("\xff\xff\xff\xff is longer than any frame"))
	require.NoError(t, err)
	_, err = c.Read(got)
	assert.Error(t, err, "the server closes")

	_, err = start(t, process.Spec{Server: "gnet-batch", Service: "echo", Network: "tcp"})
	var unsupported *process.UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	assert.Contains(t, unsupported.Reason, "is gnet in everything but frames and fixed")
}
