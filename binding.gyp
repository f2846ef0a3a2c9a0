# A shim: CMakeLists.txt is the only build truth. node-gyp and prebuildify run it through this file, and find the addon
# where they look for it. What the action is said to make never exists, so that CMake is asked each time.
{
  "targets": [
    {
      "target_name": "rootloom",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": [],
          "outputs": ["<(INTERMEDIATE_DIR)/always"],
          "action": ["node", "scripts/build-native.mjs", "<(PRODUCT_DIR)"]
        }
      ]
    }
  ]
}
