package house_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }
