// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/quartet-go/quartet/examples/study/internal/chapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChapter(t *testing.T) { chapter.Test(t, run, nil) }
